-- Roles, and which of them reads this.
SELECT r.rolname AS name,
       r.rolcanlogin AS login,
       r.rolname = current_user AS current
FROM pg_catalog.pg_roles r
