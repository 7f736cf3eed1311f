-- kinds: key, default, serial. A table without primary key is copied by a unique index, and gets one.
-- [source]
CREATE TABLE t (a text NOT NULL, b int NOT NULL, v text);
CREATE UNIQUE INDEX t_ab ON t (a, b);
ALTER TABLE t REPLICA IDENTITY USING INDEX t_ab;
INSERT INTO t SELECT 'a' || n % 3, n, NULL FROM generate_series(1, 15) AS n;
-- [desired]
-- pcrd: key (a, b)
CREATE TABLE t (a text, b serial, v text DEFAULT 'none', PRIMARY KEY (a, b));
-- [by hand]
SELECT 1;
