-- kinds: checked. Text that is spelled as PostgreSQL would is read as what it says.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, n text, u text, d text, b text, m text);
INSERT INTO t VALUES
  (1, '42', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '2024-02-29', 'true', '1.50'),
  (2, '-7', '00000000-0000-0000-0000-000000000000', '0001-01-01', 'false', '-0.10'),
  (3, NULL, NULL, NULL, NULL, NULL);
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, n int, u uuid, d date, b boolean, m numeric);
-- [by hand]
ALTER TABLE t ALTER n TYPE int USING n::int, ALTER u TYPE uuid USING u::uuid, ALTER d TYPE date USING d::date, ALTER b TYPE boolean USING b::boolean, ALTER m TYPE numeric USING m::numeric;
