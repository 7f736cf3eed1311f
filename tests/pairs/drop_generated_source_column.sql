-- kinds: drop, generated. What a generated column was made from goes; its values stay as plain ones.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a int, b int, s int GENERATED ALWAYS AS (a + b) STORED);
INSERT INTO t (id, a, b) VALUES (1, 1, 2), (2, NULL, 5), (3, -2147483648, 2147483647);
-- [desired]
-- pcrd: drops a, b
CREATE TABLE t (id int PRIMARY KEY, s int);
-- [by hand]
ALTER TABLE t ALTER s DROP EXPRESSION;
ALTER TABLE t DROP a, DROP b;
