-- kinds: enum, using. A mapping that forgets a label would make its rows NULL without a word.
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
  m feeling -- pcrd: using CASE m::text WHEN 'sad' THEN 'low' WHEN 'ok' THEN 'high' END
);
-- [refused]
-- public.t.m
-- no WHEN of its mapping takes
