-- kinds: dump. Several mistakes of writing, each reported at its own place.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text);
CREATE TABLE u (id int PRIMARY KEY);
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, a text a text);
CREATE TABLE u (id int PRIMARY KEY, PRIMARY KEY (id));
CREATE TABLE u (id int PRIMARY KEY);
-- [refused]
-- pcrd::schema::syntax
-- pcrd::schema::duplicate
