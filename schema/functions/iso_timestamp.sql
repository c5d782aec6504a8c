-- The time that an ISO date or time stands for, midnight and UTC where it leaves these out; null for any other text,
-- never an error. Filters compare dates in metadata by it.
create or replace function iso_timestamp(value text) returns timestamptz language plpgsql immutable strict as $$
begin
    if value !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?(Z|[+-](0[0-9]|1[0-5]):[0-5][0-9])?)?$' then
        return null;
    end if;
    begin
        return case when value ~ '(Z|[+-][0-9]{2}:[0-9]{2})$' then value::timestamptz
                    else value::timestamp at time zone 'UTC' end;
    exception when data_exception then
        return null;
    end;
end
$$;
