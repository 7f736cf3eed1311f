-- kinds: index, names. Indexes without a name in the file keep the source's, whatever it is.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text, b int);
CREATE INDEX "Old Index; DROP" ON t (a);
CREATE INDEX legacy_b ON t (b DESC) WHERE a <> '';
INSERT INTO t SELECT n, 'a' || n, n FROM generate_series(1, 10) AS n;
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, a text, b int);
CREATE INDEX ON t (a);
CREATE INDEX ON t (b DESC) WHERE a <> '';
CREATE INDEX ON t (b, a);
-- [direct]
CREATE TABLE t (id int PRIMARY KEY, a text, b int);
CREATE INDEX "Old Index; DROP" ON t (a);
CREATE INDEX legacy_b ON t (b DESC) WHERE a <> '';
CREATE INDEX ON t (b, a);
-- [by hand]
SELECT 1;
