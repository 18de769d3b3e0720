//! Operations as bytes: a number for the operation, then its fields, little-endian. What is missing at the end is zero.

use arbitrary::{Arbitrary, Unstructured};

/// Longest list that is played: a finding should be a short story.
const MOST: usize = 256;

/// What can be written as the bytes it is decoded from.
pub trait Encode {
    /// Appends the bytes.
    fn encode(&self, into: &mut Vec<u8>);
}

macro_rules! integers {
    ($($type:ty),*) => {
        $(impl Encode for $type {
            fn encode(&self, into: &mut Vec<u8>) {
                into.extend_from_slice(&self.to_le_bytes());
            }
        })*
    };
}

integers!(u8, u16, u32, u64);

/// Decodes operations to the end of the input.
pub fn decode<'a, T: Arbitrary<'a>>(input: &mut Unstructured<'a>) -> Vec<T> {
    let mut operations = Vec::new();
    while !input.is_empty() && operations.len() < MOST {
        let Ok(operation) = input.arbitrary() else { break };
        operations.push(operation);
    }
    operations
}

/// The input that [`decode`] makes these operations of, after a prefix.
pub fn encode<T: Encode>(prefix: &[u8], operations: &[T]) -> Vec<u8> {
    let mut bytes = prefix.to_vec();
    for operation in operations {
        operation.encode(&mut bytes);
    }
    bytes
}

/// An enumeration with both directions.
#[macro_export]
macro_rules! operations {
    (
        $(#[$outer:meta])*
        pub enum $name:ident {
            $($(#[$inner:meta])* $operation:ident { $($(#[$about:meta])* $field:ident: $type:ty),* $(,)? }),* $(,)?
        }
    ) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$inner])* $operation { $($(#[$about])* $field: $type),* }),*
        }

        const _: () = {
            enum Number { $($operation),* }
            type Decode = fn(&mut arbitrary::Unstructured<'_>) -> arbitrary::Result<$name>;
            const DECODE: &[Decode] = &[$(|_input| Ok($name::$operation { $($field: _input.arbitrary()?),* })),*];

            impl<'a> arbitrary::Arbitrary<'a> for $name {
                fn arbitrary(input: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
                    let number: u8 = input.arbitrary()?;
                    DECODE[usize::from(number) % DECODE.len()](input)
                }
            }

            impl $crate::operations::Encode for $name {
                fn encode(&self, into: &mut Vec<u8>) {
                    match self {
                        $($name::$operation { $($field),* } => {
                            into.push(Number::$operation as u8);
                            $($crate::operations::Encode::encode($field, into);)*
                        }),*
                    }
                }
            }
        };
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    operations! {
        /// For the test.
        pub enum Sample {
            /// Without fields
            Plain {},
            /// With some
            Fields {
                /// One byte
                one: u8,
                /// Four
                four: u32,
            },
        }
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        let operations = [Sample::Fields { one: 1, four: 0x5040_3020 }, Sample::Plain {}];

        let bytes = encode(&[9], &operations);
        let decoded: Vec<Sample> = decode(&mut Unstructured::new(&bytes[1..]));

        assert_eq!(bytes, [9, 1, 1, 0x20, 0x30, 0x40, 0x50, 0]);
        assert_eq!(decoded, operations);
    }

    #[test]
    fn what_is_cut_off_is_zero() {
        let decoded: Vec<Sample> = decode(&mut Unstructured::new(&[3, 7]));

        assert_eq!(decoded, [Sample::Fields { one: 7, four: 0 }]);
    }
}
