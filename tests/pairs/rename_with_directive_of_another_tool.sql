-- kinds: rename, widen. The rename is written for another tool, and read all the same.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, nick varchar(10));
INSERT INTO t VALUES (1, 'ünïcödé'), (2, ''), (3, NULL), (4, '0123456789');
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  -- atlas:renamed_from nick
  nickname text
);
-- [by hand]
ALTER TABLE t RENAME nick TO nickname;
ALTER TABLE t ALTER nickname TYPE text;
