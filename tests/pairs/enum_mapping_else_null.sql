-- kinds: enum, using. A label that is dropped on purpose: its rows become NULL because the mapping says so.
-- [source]
CREATE TYPE feeling AS ENUM ('low', 'high');
CREATE TYPE mood AS ENUM ('sad', 'ok', 'very happy');
CREATE TABLE t (id int PRIMARY KEY, m mood);
INSERT INTO t VALUES (1, 'sad'), (2, 'ok'), (3, 'very happy'), (4, NULL);
-- [desired]
CREATE TYPE mood AS ENUM ('sad', 'ok', 'very happy');
CREATE TYPE feeling AS ENUM ('low', 'high');
CREATE TABLE t (
  id int PRIMARY KEY,
  m feeling -- pcrd: using CASE m::text WHEN 'sad' THEN 'low' WHEN 'ok' THEN 'high' ELSE NULL END
);
-- [by hand]
ALTER TABLE t ALTER m TYPE feeling USING (CASE m::text WHEN 'sad' THEN 'low' WHEN 'ok' THEN 'high' END)::feeling;
