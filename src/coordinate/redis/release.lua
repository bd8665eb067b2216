-- Ends a lease, unless it is another's by now. KEYS: the lease. ARGV: its token.
if redis.pcall('GETRANGE', KEYS[1], 0, 15) == ARGV[1] then
    redis.call('DEL', KEYS[1])
end
return 0
