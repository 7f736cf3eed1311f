-- kinds: enum, array, widen. The target's type lost labels that no row holds, in a column, an array and a key.
-- [source]
CREATE TYPE mood AS ENUM ('sad', 'it''s \ fine', 'ok', 'happy');
CREATE TABLE t (id int, m mood, many mood[] DEFAULT '{sad}', PRIMARY KEY (id, m));
INSERT INTO t VALUES (1, 'sad', NULL), (2, 'ok', '{ok,NULL,sad}'), (3, 'happy', '{}');
-- [desired]
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE t (id bigint, m mood, many mood[] DEFAULT '{sad}', PRIMARY KEY (id, m));
-- [by hand]
ALTER TABLE t ALTER id TYPE bigint;
