-- What the catalogs of this case have besides the table.
CREATE DOMAIN public.email AS text;
CREATE DOMAIN public.citext AS text;
CREATE OPERATOR CLASS public.sorting_ops FOR TYPE text USING btree AS
  OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 bttextcmp(text, text);
