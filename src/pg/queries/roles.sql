-- Roles, and which of them reads this.
SELECT r.rolname AS name,
       r.rolcanlogin AS login,
       r.rolname = current_user AS current,
       -- Before 16 whoever is a member with its rights may give; 'SET' is no privilege there, and the branch is not run.
       NOT (pg_catalog.pg_has_role(r.oid, 'USAGE')
         AND CASE WHEN pg_catalog.current_setting('server_version_num')::int >= 160000
           THEN pg_catalog.pg_has_role(r.oid, 'SET') ELSE true END) AS out_of_reach
FROM pg_catalog.pg_roles r
