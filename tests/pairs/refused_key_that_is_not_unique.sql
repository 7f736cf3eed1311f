-- kinds: key. The key named by the directive has no unique index, or takes NULLs.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a int, b int UNIQUE);
CREATE TABLE u (id int PRIMARY KEY, b int UNIQUE);
-- [desired]
-- pcrd: key (a)
CREATE TABLE t (id int PRIMARY KEY, a int, b int UNIQUE);
-- pcrd: key (b)
CREATE TABLE u (id int PRIMARY KEY, b int UNIQUE);
-- [refused]
-- the key (a) of public.t cannot be used
-- the key (b) of public.u cannot be used
