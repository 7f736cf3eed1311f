-- kinds: default, check, index. What the server refuses, part by part.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, amount int);
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  amount int DEFAULT no_such_function(3),
  CONSTRAINT good CHECK (amount <> nothing)
);
CREATE INDEX ON t (amount text_pattern_ops);
-- [refused]
-- the target's server refuses it: function no_such_function(integer) does not exist (SQLSTATE 42883)
-- column "nothing" does not exist (SQLSTATE 42703)
-- operator class "text_pattern_ops" does not accept data type integer (SQLSTATE 42804)
