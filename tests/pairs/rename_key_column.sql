-- kinds: rename, fk, graph. The key's column and the columns that reference it are renamed at once.
-- [source]
CREATE TABLE a (id int PRIMARY KEY, name text);
CREATE TABLE b (id int PRIMARY KEY, a_id int REFERENCES a ON DELETE SET NULL);
INSERT INTO a SELECT n, 'n' || n FROM generate_series(1, 9) AS n;
INSERT INTO b SELECT n, nullif(n % 10, 0) FROM generate_series(1, 25) AS n;
-- [desired]
CREATE TABLE a (
  a_key int PRIMARY KEY, -- pcrd: renamed_from id
  name text
);
CREATE TABLE b (
  b_key int PRIMARY KEY, -- pcrd: renamed_from id
  owner int CONSTRAINT b_a_id_fkey REFERENCES a (a_key) ON DELETE SET NULL -- pcrd: renamed_from a_id
);
-- [by hand]
ALTER TABLE a RENAME id TO a_key;
ALTER TABLE b RENAME id TO b_key;
ALTER TABLE b RENAME a_id TO owner;
