-- kinds: fk, graph. The columns referred to are not unique.
-- [source]
CREATE TABLE a (id int PRIMARY KEY, code text);
CREATE TABLE b (id int PRIMARY KEY, code text);
-- [desired]
CREATE TABLE a (id int PRIMARY KEY, code text);
CREATE TABLE b (id int PRIMARY KEY, code text REFERENCES a (code));
-- [refused]
-- there is no unique constraint matching given keys for referenced table "a"
