-- kinds: key, widen, fk, graph. The key becomes text, and what references it too.
-- [source]
CREATE TABLE a (id int PRIMARY KEY, v text);
CREATE TABLE b (id uuid PRIMARY KEY, a int REFERENCES a);
INSERT INTO a SELECT n, 'v' FROM generate_series(-3, 12) AS n;
INSERT INTO b SELECT md5(n::text)::uuid, nullif(n - 4, 0) FROM generate_series(1, 16) AS n;
-- [desired]
CREATE TABLE a (id text PRIMARY KEY, v text);
CREATE TABLE b (id text PRIMARY KEY, a text REFERENCES a);
-- [by hand]
ALTER TABLE b DROP CONSTRAINT b_a_fkey;
ALTER TABLE a ALTER id TYPE text;
ALTER TABLE b ALTER id TYPE text, ALTER a TYPE text;
