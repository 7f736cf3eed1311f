-- kinds: comment, rename, table_rename. Comments of renamed things, set to NULL and to nothing.
-- [source]
CREATE TABLE old_t (id int PRIMARY KEY, old_c text);
COMMENT ON TABLE old_t IS 'table';
COMMENT ON COLUMN old_t.old_c IS 'column';
COMMENT ON COLUMN old_t.id IS 'key';
INSERT INTO old_t VALUES (1, 'x');
-- [desired]
-- pcrd: renamed_from old_t
CREATE TABLE new_t (
  id int CONSTRAINT new_t_pkey PRIMARY KEY,
  new_c text -- pcrd: renamed_from old_c
);
COMMENT ON TABLE new_t IS 'table';
COMMENT ON COLUMN new_t.new_c IS 'column';
COMMENT ON COLUMN new_t.id IS NULL;
-- [by hand]
ALTER TABLE old_t RENAME TO new_t;
ALTER TABLE new_t RENAME old_c TO new_c;
