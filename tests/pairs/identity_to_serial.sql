-- kinds: identity, serial. The other way round.
-- [source]
CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text);
INSERT INTO t (v) SELECT 'v' || n FROM generate_series(1, 20) AS n;
-- [desired]
CREATE TABLE t (id serial PRIMARY KEY, v text);
-- [by hand]
SELECT 1;
