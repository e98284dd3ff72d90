import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { enginePath, loadProfile, modulePath } from '../../src/hsm/profile.ts'

const folder = mkdtempSync(join(tmpdir(), 'leafkeeper-profile-'))

afterAll(() => {
  rmSync(folder, { recursive: true })
})

function written(text: string): string {
  const path = join(folder, 'profile.json')
  writeFileSync(path, text)
  return path
}

const least = { name: 'mine', module: ['/nowhere.so'], engine: [] }

test('the SoftHSM profile finds module and engine on this machine', () => {
  const profile = loadProfile('softhsm')
  expect(modulePath(profile)).toMatch(/libsofthsm2\.so$/)
  expect(enginePath(profile)).toMatch(/pkcs11\.so$/)
})

test('the SoftHSM profile knows the places of Debian on amd64 and arm64', () => {
  const { module, engine } = loadProfile('softhsm')
  for (const machine of ['x86_64-linux-gnu', 'aarch64-linux-gnu']) {
    expect(module).toContain(`/usr/lib/${machine}/softhsm/libsofthsm2.so`)
    expect(engine).toContain(`/usr/lib/${machine}/engines-3/pkcs11.so`)
  }
})

test('a profile can be any file', () => {
  const quirks = {
    libraryParameters: "configdir='/x'",
    environment: ['A'],
    omitAttributes: ['CKA_UNWRAP'],
    maxSessions: 2,
    generatesAlone: true,
    storage: { environment: 'A', key: 'b' },
  }
  expect(loadProfile(written(JSON.stringify({ ...least, quirks })))).toEqual({ ...least, quirks })
  expect(loadProfile(written(JSON.stringify(least)))).toEqual({ ...least, quirks: {} })
})

test('the first path that exists is taken', () => {
  const module = written('')
  expect(modulePath({ ...least, module: ['/nowhere.so', module, '/usr'], quirks: {} })).toBe(module)
  expect(enginePath({ ...least, quirks: {} })).toBeUndefined()
})

describe('a profile is refused with what is wrong', () => {
  test.each([
    ['{', 'JSON'],
    ['[]', 'JSON object'],
    ['{}', '"name"'],
    [JSON.stringify({ ...least, module: '/x.so' }), '"module"'],
    [JSON.stringify({ ...least, engine: [1] }), '"engine"'],
    [JSON.stringify({ ...least, quirks: [] }), '"quirks"'],
    [JSON.stringify({ ...least, quirks: { speed: 1 } }), '"quirks.speed"'],
    [JSON.stringify({ ...least, quirks: { maxSessions: 0 } }), '"quirks.maxSessions"'],
    [JSON.stringify({ ...least, quirks: { generatesAlone: 1 } }), '"quirks.generatesAlone"'],
    [JSON.stringify({ ...least, quirks: { libraryParameters: 1 } }), '"quirks.libraryParameters"'],
    [JSON.stringify({ ...least, quirks: { environment: 'A' } }), '"quirks.environment"'],
    [JSON.stringify({ ...least, quirks: { storage: {} } }), '"quirks.storage"'],
  ])('%s', (text, said) => {
    expect(() => loadProfile(written(text))).toThrow(
      expect.objectContaining({
        code: 'AGENT_CONFIG_INVALID',
        message: expect.stringContaining(said) as string,
      }),
    )
  })

  test('a name that is none', () => {
    expect(() => loadProfile('no-such-profile')).toThrow(
      expect.objectContaining({ code: 'AGENT_CONFIG_INVALID' }),
    )
  })
})

test('a profile may leave the engine to that of SoftHSM, and say what it does with places and logins', () => {
  const quirks = { namesByPlace: true, loginPerLibrary: false }
  const { engine, ...others } = least
  expect(engine).toEqual([])
  expect(loadProfile(written(JSON.stringify({ ...others, quirks })))).toEqual({
    ...least,
    engine: loadProfile('softhsm').engine,
    quirks,
  })
})
