import { execFileSync } from 'node:child_process';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');

/** A field as it looks in protobuf JSON. */
export interface Field {
  readonly name: string;
  /** "string", "number", "boolean", "base64", or the full name of a message or enum. */
  readonly type: string;
  readonly shape: 'one' | 'list' | 'map';
  /** Its comment in the proto. */
  readonly comment: string;
  /** It is a case of a oneof with this name. */
  readonly oneof: string | undefined;
}

export interface Message {
  readonly kind: 'message';
  readonly name: string;
  readonly comment: string;
  readonly fields: readonly Field[];
}

export interface Enum {
  readonly kind: 'enum';
  readonly name: string;
  readonly comment: string;
  readonly values: readonly { readonly name: string; readonly comment: string }[];
}

/** Every message and enum of the protos by full name, with their comments. */
export type Schema = ReadonlyMap<string, Message | Enum>;

/** What is read of a FileDescriptorSet in JSON. */
interface FileDescriptor {
  readonly package: string;
  readonly messageType?: readonly MessageDescriptor[];
  readonly enumType?: readonly EnumDescriptor[];
  readonly sourceCodeInfo?: { readonly location: readonly Location[] };
}
interface Location {
  readonly path?: readonly number[];
  readonly leadingComments?: string;
}
interface MessageDescriptor {
  readonly name: string;
  readonly field?: readonly FieldDescriptor[];
  readonly nestedType?: readonly MessageDescriptor[];
  readonly oneofDecl?: readonly { readonly name: string }[];
  readonly options?: { readonly mapEntry?: boolean };
}
interface FieldDescriptor {
  readonly label: string;
  readonly type: string;
  readonly typeName?: string;
  readonly jsonName: string;
  readonly oneofIndex?: number;
  readonly proto3Optional?: boolean;
}
interface EnumDescriptor {
  readonly name: string;
  readonly value: readonly { readonly name: string }[];
}

/** Field numbers in descriptor.proto, of which source locations are made. */
const at = { message: 4, enum: 5, field: 2, value: 2 } as const;

/** Reads all protos with buf; works offline. */
export function readSchema(): Schema {
  const image = execFileSync(join(root, 'node_modules/.bin/buf'), ['build', '--output', '-#format=json'], {
    cwd: join(root, 'proto'),
    encoding: 'utf8',
    maxBuffer: 64 * 2 ** 20,
  });
  const { file } = JSON.parse(image) as { file: readonly FileDescriptor[] };
  return new Map(file.flatMap(typesOf).map((type) => [type.name, type]));
}

function typesOf(file: FileDescriptor): (Message | Enum)[] {
  const comments = new Map(
    (file.sourceCodeInfo?.location ?? []).map(({ path = [], leadingComments = '' }) => [
      path.join('.'),
      leadingComments.trim().replace(/\s*\n\s*/gu, ' '),
    ]),
  );
  const commentAt = (...path: readonly number[]): string => comments.get(path.join('.')) ?? '';
  const messages = (file.messageType ?? []).map(
    (message, i): Message => ({
      kind: 'message',
      name: `${file.package}.${message.name}`,
      comment: commentAt(at.message, i),
      fields: (message.field ?? []).map((field, j) => fieldOf(message, field, commentAt(at.message, i, at.field, j))),
    }),
  );
  const enums = (file.enumType ?? []).map(
    (type, i): Enum => ({
      kind: 'enum',
      name: `${file.package}.${type.name}`,
      comment: commentAt(at.enum, i),
      values: type.value.map(({ name }, j) => ({ name, comment: commentAt(at.enum, i, at.value, j) })),
    }),
  );
  return [...messages, ...enums];
}

function fieldOf(message: MessageDescriptor, field: FieldDescriptor, comment: string): Field {
  const entry = message.nestedType?.find(
    ({ name, options }) => options?.mapEntry === true && field.typeName?.endsWith(`.${message.name}.${name}`),
  );
  const value = entry?.field?.[1];
  const isOneof = field.oneofIndex !== undefined && field.proto3Optional !== true;
  return {
    name: field.jsonName,
    type: jsonType(value ?? field),
    shape: entry ? 'map' : field.label === 'LABEL_REPEATED' ? 'list' : 'one',
    comment,
    oneof: isOneof ? message.oneofDecl?.[field.oneofIndex ?? 0]?.name : undefined,
  };
}

function jsonType({ type, typeName }: FieldDescriptor): string {
  if (typeName !== undefined) return typeName.slice(1);
  if (type === 'TYPE_STRING') return 'string';
  if (type === 'TYPE_BOOL') return 'boolean';
  return type === 'TYPE_BYTES' ? 'base64' : 'number';
}
