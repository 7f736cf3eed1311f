-- kinds: exclude, rename. The exclusion goes, and its index with it.
-- [source]
CREATE TABLE booking (id int PRIMARY KEY, during tsrange, EXCLUDE USING gist (during WITH &&));
INSERT INTO booking SELECT n, tsrange('2024-01-01'::timestamp + n * interval '1 day', '2024-01-02'::timestamp + n * interval '1 day') FROM generate_series(1, 10) AS n;
-- [desired]
CREATE TABLE booking (
  id int PRIMARY KEY,
  period tsrange -- pcrd: renamed_from during
);
-- [by hand]
ALTER TABLE booking RENAME during TO period;
