-- kinds: default. Changed, dropped, added, to an expression, to NULL, to a keyword.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a int DEFAULT 1, b text DEFAULT 'x', c text, d timestamptz DEFAULT now(), e text DEFAULT 'generated', f date);
INSERT INTO t (id, b, c, d, f) SELECT n, 'b', NULL, '2024-01-01 00:00Z', NULL FROM generate_series(1, 10) AS n;
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  a int DEFAULT -2 * 3,
  b text,
  c text DEFAULT 'it''s ' || current_user,
  d timestamptz DEFAULT CURRENT_TIMESTAMP(0),
  e text DEFAULT 'generated',
  f date DEFAULT current_date + 7
);
-- [by hand]
SELECT 1;
