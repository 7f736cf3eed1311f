-- kinds: fk, graph. Both ends of a reference must be comparable.
-- [source]
CREATE TABLE a (id int PRIMARY KEY);
CREATE TABLE b (id int PRIMARY KEY, a uuid);
-- [desired]
CREATE TABLE a (id int PRIMARY KEY);
CREATE TABLE b (id int PRIMARY KEY, a uuid REFERENCES a);
-- [refused]
-- pcrd::schema::server
-- foreign key constraint "b_a_fkey" cannot be implemented
