-- kinds: computed, drop, not_null. Three columns become one, one becomes three.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, y int NOT NULL, m int NOT NULL, d int NOT NULL, geo point);
INSERT INTO t VALUES (1, 2024, 2, 29, '(1,2)'), (2, 1, 1, 1, NULL), (3, 9999, 12, 31, '(-0,1e300)');
-- [desired]
-- pcrd: drops y, m, d, geo
CREATE TABLE t (
  id int PRIMARY KEY,
  born date NOT NULL, -- pcrd: using make_date(y, m, d)
  lat double precision, -- pcrd: using geo[0]
  lon double precision -- pcrd: using geo[1]
);
-- [by hand]
ALTER TABLE t ADD born date, ADD lat double precision, ADD lon double precision;
UPDATE t SET born = make_date(y, m, d), lat = geo[0], lon = geo[1];
ALTER TABLE t DROP y, DROP m, DROP d, DROP geo;
