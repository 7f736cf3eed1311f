-- kinds: check. A check that compares what cannot be compared.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a int, b uuid);
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, a int CHECK (a = 'x'), b uuid, CONSTRAINT odd CHECK (b > 5));
-- [refused]
-- pcrd::schema::server
-- invalid input syntax for type integer: "x"
-- operator does not exist: uuid > integer
