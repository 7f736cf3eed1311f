-- kinds: generated. PostgreSQL's own words about an expression that is not immutable.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, at timestamptz);
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, at timestamptz, day text GENERATED ALWAYS AS (at::text) STORED);
-- [refused]
-- pcrd::schema::server
-- generation expression is not immutable
