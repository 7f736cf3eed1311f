-- kinds: widen. varchar to text, date to text, timestamp(0) to timestamp, json to text, inet to text.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a varchar(5), b date, c timestamp(0), d json, e cidr);
INSERT INTO t VALUES
  (1, 'éèêëē', 'infinity', '-infinity', '{"b":1, "a":  [1,2]}', '10.0.0.0/8'),
  (2, '', '4713-01-01 BC', '294276-12-31 23:59:59', 'null', '::1/128'),
  (3, NULL, NULL, NULL, NULL, NULL);
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, a text, b text, c timestamp, d text, e inet);
-- [by hand]
SET datestyle = ISO;
ALTER TABLE t ALTER a TYPE text, ALTER b TYPE text, ALTER c TYPE timestamp, ALTER d TYPE text, ALTER e TYPE inet;
