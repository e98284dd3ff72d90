import fs from 'node:fs'
import files, { type FileHandle } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { relative } from 'node:path'
import type { Points } from './points.ts'

type AnyFunction = (this: unknown, ...args: unknown[]) => unknown
type Functions = Record<string, unknown>

/** A file by its present name, which may change while it is open. */
interface OpenFile {
  path: string
}

/**
 * Makes every operation of `node:fs` on a file below a folder a point, whoever does it. Node's own functions are
 * replaced, so that the device runs as it is.
 */
export function watchFiles(folder: string, points: Points): void {
  const nameOf = (path: unknown): string | undefined =>
    typeof path === 'string' && path.startsWith(`${folder}/`) ? relative(folder, path) : undefined
  const opened = new Map<string, OpenFile>()
  replaceEach(files, (name, original) => async (...args) => {
    const path = nameOf(args[0])
    if (path === undefined) return await original(...args)
    const result = await points.aroundFile(`${name} ${path}`, async () => await original(...args))
    if (name === 'open') opened.set(path, watchHandle(result as FileHandle, path, points))
    const renamed = name === 'rename' ? opened.get(path) : undefined
    if (renamed !== undefined) renamed.path = nameOf(args[1]) ?? path
    return result
  })
  replaceEach(fs, (name, original) => (...args) => {
    const path = name.endsWith('Sync') ? nameOf(args[0]) : undefined
    if (path === undefined) return original(...args)
    const point = `${name} ${path}`
    const nth = points.enter(point)
    points.refuse(point, nth)
    const result = original(...args)
    points.leave(point, nth)
    return result
  })
  syncBuiltinESMExports()
}

const handleMethods = ['write', 'datasync', 'sync', 'truncate', 'close', 'read', 'readFile', 'stat'] as const

function watchHandle(handle: FileHandle, path: string, points: Points): OpenFile {
  const functions: Functions = Object(handle) as Functions
  const file = { path }
  for (const name of handleMethods) {
    const original = (functions[name] as AnyFunction).bind(handle)
    functions[name] = async (...args: unknown[]) =>
      await points.aroundFile(
        `${name} ${file.path}`,
        async () => await original(...args),
        async () => {
          const [bytes, offset, length, position] = args as [Buffer, number, number, number]
          await original(bytes, offset, Math.ceil(length / 2), position)
        },
      )
  }
  return file
}

function replaceEach(module: object, replace: (name: string, original: AnyFunction) => AnyFunction): void {
  const functions = module as Functions
  for (const [name, value] of Object.entries(functions)) {
    if (typeof value === 'function' && /^[a-z]/.test(name))
      functions[name] = Object.assign(replace(name, value.bind(functions) as AnyFunction), value)
  }
}
