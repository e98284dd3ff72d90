import { describe, expect, test } from 'vitest'
import { parseAddress, route } from '../../src/transport/address.ts'

describe('an address', () => {
  test.each([
    ['hub.azure-devices.net', 'hub.azure-devices.net', 8883],
    ['localhost:9884', 'localhost', 9884],
    ['127.0.0.1', '127.0.0.1', 8883],
    ['[::1]', '::1', 8883],
    ['[::1]:9884', '::1', 9884],
  ])('%s is host %s and port %i', (text, host, port) => {
    expect(parseAddress(text)).toEqual({ host, port })
  })

  test.each([
    '',
    'hub:',
    'hub:0',
    'hub:65536',
    'hub:x',
    'https://hub',
    'hub/path',
    'a:b:c',
    'user@hub',
    'h ub',
  ])('%j is none', (text) => {
    expect(() => parseAddress(text)).toThrow(expect.objectContaining({ code: 'AGENT_CONFIG_INVALID' }))
  })
})

describe('connectTo', () => {
  const wanted = { host: 'hub-a.azure-devices.net', port: 8883 }

  test.each([
    ['nothing', {}, 'hub-a.azure-devices.net', 8883],
    ['the exact name', { 'hub-a.azure-devices.net': 'localhost:1' }, 'localhost', 1],
    ['the name in another case', { 'HUB-A.Azure-Devices.NET': 'localhost:1' }, 'localhost', 1],
    ['a domain', { '*.azure-devices.net': 'localhost:2' }, 'localhost', 2],
    ['a domain further up', { '*.net': 'localhost:3' }, 'localhost', 3],
    [
      'the name before its domain',
      { '*.azure-devices.net': 'x:1', 'hub-a.azure-devices.net': 'y:2' },
      'y',
      2,
    ],
    ['the nearest domain', { '*.azure-devices.net': 'x:1', '*.net': 'y:2' }, 'x', 1],
    ['the default port', { '*.net': 'gateway' }, 'gateway', 8883],
    ['no other host', { 'hub-b.azure-devices.net': 'localhost:1' }, 'hub-a.azure-devices.net', 8883],
    ['no part of a name', { '*.devices.net': 'localhost:1' }, 'hub-a.azure-devices.net', 8883],
    ['not the domain itself', { '*.hub-a.azure-devices.net': 'x:1' }, 'hub-a.azure-devices.net', 8883],
  ])('follows %s', (_what, connectTo, host, port) => {
    expect(route(wanted, connectTo)).toEqual({ host, port })
  })

  test('refuses an entry that is no address', () => {
    expect(() => route(wanted, { '*.net': 'localhost:none' })).toThrow(
      expect.objectContaining({ code: 'AGENT_CONFIG_INVALID' }),
    )
  })
})
