-- kinds: domain, widen, check. A domain without constraints counts as its base type.
-- [source]
CREATE DOMAIN plain_text AS text;
CREATE TABLE t (id int PRIMARY KEY, a plain_text, b text);
INSERT INTO t VALUES (1, '', NULL), (2, NULL, ''), (3, 'é', 'x');
-- [desired]
CREATE DOMAIN plain_text AS text;
CREATE TABLE t (id int PRIMARY KEY, a text CHECK (a <> 'q'), b plain_text);
-- [by hand]
ALTER TABLE t ALTER a TYPE text, ALTER b TYPE plain_text;
