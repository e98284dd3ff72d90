import { describe, expect, it } from 'vitest'
import { runQuery } from '../../sim/hub/query/evaluate.ts'
import { parseQuery, parseQueryCondition } from '../../sim/hub/query/parse.ts'

const rows = [
  {
    deviceId: 'a-1',
    status: 'enabled',
    tags: { site: 'north', floor: 3, old: null },
    properties: { reported: { leaf: { days: 12 }, healthy: true } },
  },
  { deviceId: 'a-2', status: 'disabled', tags: { site: "o'hara" }, properties: { reported: {} } },
  { deviceId: 'b-1', status: 'enabled', tags: {}, properties: { reported: { leaf: { days: 40 } } } },
]

const found = (where: string): unknown[] =>
  runQuery(parseQuery(`SELECT * FROM devices WHERE ${where}`), rows).map(({ deviceId }) => deviceId)

describe('what a condition finds', () => {
  it.each([
    ["deviceId = 'a-1'", ['a-1']],
    ['deviceId = "a-1"', ['a-1']],
    ["devices.deviceId = 'a-1'", ['a-1']],
    ["deviceId != 'a-1'", ['a-2', 'b-1']],
    ["deviceId <> 'a-1'", ['a-2', 'b-1']],
    ["deviceId IN ['a-2', 'b-1', 3]", ['a-2', 'b-1']],
    ["deviceId NOT IN ['a-2', 'b-1']", ['a-1']],
    ['deviceId in []', []],
    ["tags.site = 'o\\'hara'", ['a-2']],
    ['tags.floor = 3', ['a-1']],
    ['tags.floor > 2.5e0 AND tags.floor <= 3', ['a-1']],
    ["tags.floor = '3'", []],
    ["tags.floor < 'x'", []],
    ['tags.old = null', ['a-1']],
    ['tags.old != null', []],
    // What is not there is neither equal nor unequal, and NOT does not make it so.
    ["tags.site != 'north'", ['a-2']],
    ["NOT tags.site = 'north'", ['a-2']],
    ['is_defined(tags.site)', ['a-1', 'a-2']],
    ['NOT IS_DEFINED(tags.site)', ['b-1']],
    ["STARTSWITH(deviceId, 'a-')", ['a-1', 'a-2']],
    ["NOT startswith(deviceId, 'a-')", ['b-1']],
    ['properties.reported.leaf.days >= 12', ['a-1', 'b-1']],
    ['properties.reported.leaf.days < -1', []],
    ['properties.reported.healthy', ['a-1']],
    ['properties.reported.healthy = true', ['a-1']],
    ["tags.site = 'north' OR status = 'disabled' AND deviceId = 'x'", ['a-1']],
    ["(tags.site = 'north' OR status = 'disabled') AND deviceId = 'a-2'", ['a-2']],
    ["NOT (status = 'enabled')", ['a-2']],
    ['tags.constructor.name = 1', []],
    ['is_defined(tags.toString)', []],
  ])('%s', (where, ids) => expect(found(where)).toEqual(ids))
})

describe('what a query selects', () => {
  it('counts', () => {
    expect(runQuery(parseQuery("SELECT COUNT() AS n FROM devices WHERE status = 'enabled'"), rows)).toEqual([
      { n: 2 },
    ])
  })

  it('picks fields, and leaves out what is not there', () => {
    const query = parseQuery('select deviceId, tags.site AS place from devices')
    expect(runQuery(query, rows)).toEqual([
      { deviceId: 'a-1', place: 'north' },
      { deviceId: 'a-2', place: "o'hara" },
      { deviceId: 'b-1' },
    ])
  })

  it('reads jobs with and without their prefix', () => {
    const query = parseQuery("SELECT devices.jobs.deviceId FROM devices.jobs WHERE devices.jobs.jobId = 'j'")
    expect(runQuery(query, [{ deviceId: 'd', jobId: 'j' }])).toEqual([{ deviceId: 'd' }])
  })
})

describe('what is refused', () => {
  it.each([
    ['', 'expected SELECT, got the end (at character 1)'],
    ['SELECT', 'expected a name'],
    ['SELECT * FROM devices WHERE', 'expected a name, got the end'],
    ['SELECT * FROM modules', 'cannot read from "devices.modules"'.replace('devices.', '')],
    ['SELECT * FROM devices.modules', 'cannot read from "devices.modules"'],
    ['SELECT * FROM devices GROUP BY status', 'expected the end of the query, got "GROUP"'],
    ['SELECT TOP 3 * FROM devices', 'expected FROM, got "3"'],
    ['SELECT SUM(tags.x) FROM devices', 'expected FROM, got "("'],
    ['SELECT * FROM devices; DROP', '";" begins nothing'],
    ["SELECT * FROM devices WHERE deviceId = 'x", '"\'" begins nothing'],
    ['SELECT * FROM devices WHERE a = 1 AND', 'expected a name'],
    ['SELECT * FROM devices WHERE (a = 1', 'expected ")"'],
    ['SELECT * FROM devices WHERE a IN (1)', 'expected "["'],
    ['SELECT * FROM devices WHERE a IN [b]', 'a list holds values only'],
    ['SELECT * FROM devices WHERE contains(a, 1)', 'there is no function contains()'],
    ['SELECT * FROM devices WHERE a = SELECT', 'expected a value, got SELECT'],
    [`SELECT * FROM devices WHERE ${'('.repeat(5000)}`, 'at most 100 levels deep'],
    [`SELECT * FROM devices WHERE ${'NOT '.repeat(5000)}`, 'at most 100 levels deep'],
    [`SELECT * FROM devices WHERE a = '${'x'.repeat(40_000)}'`, 'at most 32768 characters'],
  ])('%.60s', (query, why) => {
    expect(() => parseQuery(query)).toThrow(why)
  })

  it('takes * and nothing as the condition of a job for all devices', () => {
    expect(parseQueryCondition(' * ')).toBeUndefined()
    expect(parseQueryCondition('')).toBeUndefined()
    expect(() => parseQueryCondition('a = 1 GROUP')).toThrow('expected the end of the query')
  })
})
