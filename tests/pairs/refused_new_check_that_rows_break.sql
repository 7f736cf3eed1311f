-- kinds: check, unique, not_null. New demands that rows break, counted all at once.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, amount int, code text);
INSERT INTO t VALUES (1, 5, 'a'), (2, -5, 'a'), (3, NULL, 'b');
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, amount int NOT NULL CHECK (amount > 0), code text UNIQUE);
-- [refused]
-- public.t.amount: 1 of 3 rows NULL
-- public.t.t_amount_check: 1 of 3 rows against the new CHECK t_amount_check
-- public.t.t_code_key: 2 of 3 rows with the same values under the unique index t_code_key
