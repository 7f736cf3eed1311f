-- kinds: checked. Narrowing casts whose rows all fit, at the very edge.
-- [source]
CREATE TABLE t (id bigint PRIMARY KEY, a bigint, b text, c numeric, d timestamp, e double precision);
INSERT INTO t VALUES
  (1, 2147483647, '0123456789', 99999999.99, '2024-02-29 23:59:59', 32767),
  (2, -2147483648, 'ßßßßßßßßßß', -99999999.99, 'infinity', -32768),
  (3, NULL, NULL, NULL, NULL, NULL), (4, 0, '', 'NaN', '-infinity', 0);
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, a int, b varchar(10), c numeric(10,2), d timestamp(0), e smallint);
-- [by hand]
ALTER TABLE t ALTER id TYPE int, ALTER a TYPE int, ALTER b TYPE varchar(10), ALTER c TYPE numeric(10,2), ALTER d TYPE timestamp(0), ALTER e TYPE smallint;
