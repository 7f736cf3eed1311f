-- kinds: fk, graph. A reference comes, another goes, a third changes what happens on delete.
-- [source]
CREATE TABLE a (id int PRIMARY KEY, code text NOT NULL UNIQUE);
CREATE TABLE b (
  id int PRIMARY KEY,
  a1 int REFERENCES a,
  a2 int REFERENCES a,
  a3 text
);
INSERT INTO a SELECT n, 'c' || n FROM generate_series(1, 5) AS n;
INSERT INTO b SELECT n, nullif(n % 6, 0), 1 + n % 5, 'c' || 1 + n % 5 FROM generate_series(1, 20) AS n;
-- [desired]
CREATE TABLE a (id int PRIMARY KEY, code text NOT NULL UNIQUE);
CREATE TABLE b (
  id int PRIMARY KEY,
  a1 int REFERENCES a ON DELETE CASCADE,
  a2 int,
  a3 text REFERENCES a (code) ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED
);
-- [by hand]
SELECT 1;
