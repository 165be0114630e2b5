-- wrk: asks for one of a few hundred watchlists after the other, with a key, where READS says.
local lists = {}
for line in io.lines(os.getenv("WATCHLISTS")) do lists[#lists + 1] = line end
local headers = {
  ["APCA-API-KEY-ID"] = os.getenv("KEY_ID"),
  ["APCA-API-SECRET-KEY"] = os.getenv("SECRET"),
}
local reads, place = os.getenv("READS"), 0

function request()
  place = place % #lists + 1
  return wrk.format("GET", reads .. lists[place], headers)
end
