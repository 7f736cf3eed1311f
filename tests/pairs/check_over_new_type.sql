-- kinds: check, checked, using. The check is about the new type's values, and is tried on what rows become.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, n text, m text);
INSERT INTO t VALUES (1, '10', 'A'), (2, '20', 'b'), (3, NULL, NULL);
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  n int CHECK (n % 10 = 0),
  m text CHECK (m = lower(m)) -- pcrd: using lower(m)
);
-- [by hand]
ALTER TABLE t ALTER n TYPE int USING n::int;
UPDATE t SET m = lower(m);
