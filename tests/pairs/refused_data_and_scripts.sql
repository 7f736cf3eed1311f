-- kinds: dump. Rows and steps of a migration have no place in a desired schema.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text);
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, a text);
INSERT INTO t VALUES (1, 'x');
ALTER TABLE t RENAME a TO b;
DROP TABLE t;
-- [refused]
-- pcrd::schema::data
-- pcrd::schema::script
-- renamed_from
