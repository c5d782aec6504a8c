-- name: add_key
-- A new key; its hash is all that is kept of it.
insert into api_keys (name, prefix, hash, scope, collections, expires_at)
values (:name, :prefix, :hash, :scope, :collections::integer[], :expires_at)
returning id, created_at;

-- name: get_key
-- Who a key is: of its collections those that may be seen, which are its own.
select k.name, k.scope,
       case when k.collections is not null
            then array(select c.name from collections c where c.id = any(k.collections)
                       and (:permitted::integer[] is null or c.id = any(:permitted::integer[])) order by c.name)
       end as collections,
       k.expires_at
from api_keys k
where k.id = :id;

-- name: list_keys
-- Every key that was ever made, with the names of the collections that it is limited to; for who is limited, those
-- that may see no more.
select k.id, k.name, k.prefix, k.scope,
       case when k.collections is not null
            then array(select c.name from collections c where c.id = any(k.collections) order by c.name) end as collections,
       k.created_at, k.last_used_at, k.expires_at, k.revoked_at
from api_keys k
where :permitted::integer[] is null or k.collections <@ :permitted::integer[]
order by k.id;

-- name: revoke_key
-- From now on it opens nothing. By its id, or by its name; who is limited revokes none that may see more.
update api_keys set revoked_at = now()
where revoked_at is null and (id::text = :which or name = :which)
  and (:permitted::integer[] is null or collections <@ :permitted::integer[])
returning id, name;

-- name: has_usable_key
-- Whether any key opens anything.
select exists (select from api_keys where revoked_at is null and coalesce(expires_at, 'infinity') > now());

-- name: read_keys
-- What the API knows of every key, by the database's clock.
select hash, id, scope, collections, revoked_at is null and coalesce(expires_at, 'infinity') > now()
from api_keys;

-- name: keys_used!
-- When keys were last used, to the minute: a key in constant use is not written with every request.
update api_keys set last_used_at = now()
where id = any(:ids::integer[]) and coalesce(last_used_at, '-infinity') < now() - interval '1 minute';
