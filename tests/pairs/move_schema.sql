-- kinds: move, fk, graph. One of two tables moves to another schema; the foreign key between them stays.
-- [source]
CREATE TABLE a (id int PRIMARY KEY);
CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a);
INSERT INTO a SELECT generate_series(1, 5);
INSERT INTO b SELECT n, nullif(n % 6, 0) FROM generate_series(1, 12) AS n;
-- [desired]
CREATE SCHEMA app;
-- pcrd: renamed_from public.a
CREATE TABLE app.a (id int PRIMARY KEY);
CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES app.a);
-- [by hand]
CREATE SCHEMA app;
ALTER TABLE a SET SCHEMA app;
