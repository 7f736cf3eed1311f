-- kinds: enum, widen, checked, check. One enum becomes text under a check, one text becomes an enum.
-- [source]
CREATE TYPE color AS ENUM ('red', 'Gr"een', 'it''s blue', 'ünï');
CREATE TABLE t (id int PRIMARY KEY, a color, b text);
INSERT INTO t VALUES (1, 'red', 'red'), (2, 'Gr"een', 'Gr"een'), (3, 'it''s blue', 'ünï'), (4, NULL, NULL);
-- [desired]
CREATE TYPE color AS ENUM ('red', 'Gr"een', 'it''s blue', 'ünï');
CREATE TABLE t (id int PRIMARY KEY, a text CHECK (a <> ''), b color);
-- [by hand]
ALTER TABLE t ALTER a TYPE text, ALTER b TYPE color USING b::color;
