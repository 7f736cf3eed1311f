-- kinds: checked. Every narrowing cast with a row just over the edge.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a bigint, b text, c numeric, d timestamp, e text, f double precision);
INSERT INTO t VALUES
  (1, 2147483648, '0123456789x', 0.005, '2024-01-01 00:00:00.1', '042', 0.5),
  (2, -2147483648, 'ok', 1, 'infinity', '42', 'NaN');
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, a int, b varchar(10), c numeric(10,2), d timestamp(0), e int, f int);
-- [refused]
-- public.t.a: 1 of 2 rows
-- public.t.b: 1 of 2 rows
-- public.t.c: 1 of 2 rows
-- public.t.d: 1 of 2 rows
-- public.t.e: 1 of 2 rows
-- public.t.f: 1 of 2 rows out of range for integer
-- public.t.f: 1 of 2 rows has digits after the point
