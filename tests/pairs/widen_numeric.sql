-- kinds: widen, check. numeric grows in both directions under a check that stays.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a numeric(10,2) CONSTRAINT a_ok CHECK (a <> 0.5), b numeric(5,0), r real);
INSERT INTO t VALUES (1, 99999999.99, 99999, 'NaN'), (2, 'NaN', 'NaN', '-Infinity'), (3, NULL, NULL, 1e-38), (4, -0.01, -1, 0.1);
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, a numeric(14,4) CONSTRAINT a_ok CHECK (a <> 0.5), b numeric, r double precision);
-- [by hand]
ALTER TABLE t ALTER a TYPE numeric(14,4), ALTER b TYPE numeric, ALTER r TYPE double precision;
