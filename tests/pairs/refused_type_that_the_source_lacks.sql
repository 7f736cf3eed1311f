-- kinds: enum, using. COPY evaluates an expression on the source, which lacks the type that it makes.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, level smallint);
INSERT INTO t VALUES (1, 0);
-- [desired]
CREATE TYPE level AS ENUM ('none', 'some');
CREATE TABLE t (
  id int PRIMARY KEY,
  level level -- pcrd: using (ARRAY['none','some'])[level + 1]
);
-- [refused]
-- public.t.level: the source's server refuses its expression: type "public.level" does not exist (SQLSTATE 42704)
-- create the type on the source too
