-- kinds: widen, default. Integers of every width grow; their defaults stay what they were.
-- [source]
CREATE TABLE t (id smallint PRIMARY KEY, a smallint DEFAULT -1, b int DEFAULT 7, c bigint);
INSERT INTO t VALUES (-32768, 32767, 2147483647, 9223372036854775807), (0, NULL, NULL, NULL), (32767, -32768, -2147483648, -9223372036854775808);
-- [desired]
CREATE TABLE t (id bigint PRIMARY KEY, a int DEFAULT -1, b bigint DEFAULT 7, c numeric);
-- [by hand]
ALTER TABLE t ALTER id TYPE bigint, ALTER a TYPE int, ALTER b TYPE bigint, ALTER c TYPE numeric;
