-- kinds: enum, using, default. Labels of one enum become those of another.
-- [source]
CREATE TYPE feeling AS ENUM ('low', 'high');
CREATE TYPE mood AS ENUM ('sad', 'ok', 'very happy');
CREATE TABLE t (id int PRIMARY KEY, m mood DEFAULT 'ok');
INSERT INTO t VALUES (1, 'sad'), (2, 'ok'), (3, 'very happy'), (4, NULL);
-- [desired]
CREATE TYPE mood AS ENUM ('sad', 'ok', 'very happy');
CREATE TYPE feeling AS ENUM ('low', 'high');
CREATE TABLE t (
  id int PRIMARY KEY,
  m feeling DEFAULT 'low' -- pcrd: using CASE m::text WHEN 'sad' THEN 'low' WHEN 'ok' THEN 'high' WHEN 'very happy' THEN 'high' END
);
-- [by hand]
ALTER TABLE t ALTER m DROP DEFAULT;
ALTER TABLE t ALTER m TYPE feeling USING (CASE m::text WHEN 'sad' THEN 'low' WHEN 'ok' THEN 'high' WHEN 'very happy' THEN 'high' END)::feeling;
