CREATE SCHEMA app;
CREATE FUNCTION app.me() RETURNS text LANGUAGE sql AS 'SELECT current_user::text';
