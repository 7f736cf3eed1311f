-- kinds: enum. A label in the rows that the target's type does not have.
-- [source]
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE t (id int PRIMARY KEY, m mood);
INSERT INTO t VALUES (1, 'sad'), (2, 'happy'), (3, NULL);
-- [desired]
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TABLE t (id int PRIMARY KEY, m mood);
-- [refused]
-- public.t.m
-- happy
