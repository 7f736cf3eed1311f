-- kinds: exclude, rename, move. Another operator, a condition, deferrable, in another schema.
-- [source]
CREATE TABLE slot (id int PRIMARY KEY, room int4range, live boolean, CONSTRAINT no_two EXCLUDE USING gist (room WITH &&));
INSERT INTO slot VALUES (1, '[1,5)', true), (2, '[5,9)', NULL), (3, NULL, false), (4, 'empty', true);
-- [desired]
CREATE SCHEMA app;
-- pcrd: renamed_from public.slot
CREATE TABLE app.slot (
  id int PRIMARY KEY,
  rooms int4range, -- pcrd: renamed_from room
  live boolean,
  CONSTRAINT no_two EXCLUDE USING gist (rooms WITH -|-) WHERE (live IS FALSE) DEFERRABLE
);
-- [by hand]
CREATE SCHEMA app;
ALTER TABLE slot RENAME room TO rooms;
ALTER TABLE slot SET SCHEMA app;
