-- kinds: array, using, computed, index. A scalar becomes an array, an array a scalar.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, one text, many int[]);
INSERT INTO t VALUES (1, 'a,b', '{1,2}'), (2, NULL, NULL), (3, '', '{}');
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  one text[], -- pcrd: using CASE WHEN one = '' THEN '{}'::text[] ELSE regexp_split_to_array(one, ',') END
  many int -- pcrd: using many[1]
);
CREATE INDEX ON t USING gin (one);
-- [by hand]
ALTER TABLE t ALTER one TYPE text[] USING CASE WHEN one = '' THEN '{}'::text[] ELSE regexp_split_to_array(one, ',') END, ALTER many TYPE int USING many[1];
